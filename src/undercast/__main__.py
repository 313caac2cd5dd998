"""``python -m undercast``, which is also how torchrun starts it."""

from undercast.cli.main import main

main()
