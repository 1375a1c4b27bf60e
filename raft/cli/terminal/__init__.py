"""The terminal: printing, the prompt, completion, and the setup of a process."""
