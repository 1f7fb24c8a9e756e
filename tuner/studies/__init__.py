"""What a study is and how it goes on: its definition, its trials, what is proposed next, how it moves between databases."""
