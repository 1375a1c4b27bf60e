"""The terminal under the verbs: printing, the prompt, completion, and what a process finds when it starts."""
