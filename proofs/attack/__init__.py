"""The standing attack: a search, for every public function that returns a bound, for input that breaks it."""
