"""The sections of ``attest check``, a module a stem."""
