"""What tests of programs that use Stead may import."""
