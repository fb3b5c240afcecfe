"""The sub-commands, one module each: ``add_parser`` says how it is called, ``run`` does it."""
