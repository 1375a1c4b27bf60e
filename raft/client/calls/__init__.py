"""What each call of a client encodes, asks and decodes: generators that sync and async clients drive alike."""
