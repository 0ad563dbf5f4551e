"""How clients arrive: a gate yields evidence and messages, nothing more."""
