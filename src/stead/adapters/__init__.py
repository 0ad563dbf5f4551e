"""The doors to the machine: stores and whatever else a library opens for Stead."""
