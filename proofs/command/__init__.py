"""What the ``attest`` command prints."""
