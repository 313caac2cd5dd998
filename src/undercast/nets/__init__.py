"""Networks: each a frozen configuration with build(), beside its module."""
