"""How a model or a data set gets here: the registries' entries, the hub, packages that carry files, and the cache."""
