"""params.yaml: its schema, its rules, and how it is expanded into plans. Used by `plan` and by tools that check it."""
