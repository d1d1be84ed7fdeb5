"""What runs beside a student: exercises and their checks, the wire between a check and an answer, the session."""
