"""Where the bundled data and models come from: the generators that made them, and a card for each."""
