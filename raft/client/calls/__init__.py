"""What each call encodes, asks and decodes, as generators that sync and async clients drive alike."""
