"""`python -m provisioner` is the same program as the installed `provisioner`."""

from provisioner.cli.main import main

main()
