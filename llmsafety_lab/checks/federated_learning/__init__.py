"""The checks of the Federated learning lab, in its order."""

from llmsafety_lab.checks.federated_learning import clients, leaks, private, robust, server

EXERCISES = (
    server.check_server,
    clients.check_local,
    leaks.check_invert,
    leaks.check_span,
    robust.check_krum,
    private.check_private,
)
