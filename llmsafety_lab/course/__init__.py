"""The course's machinery: build, execute, check, grade."""
