"""What training refuses."""


class TrainingError(ValueError):
    """The configuration does not fit the data or the machine; says what to change."""
