"""Every route that the installed MLflow serves, and the fields of its GraphQL schema, as pairs of method and path."""

import json
import os
import re
import sys
import tempfile

with tempfile.TemporaryDirectory() as directory:
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{directory}/mlflow.db"
    from mlflow.server import app as flask_app
    from mlflow.server.fastapi_app import create_fastapi_app
    from mlflow.server.graphql.graphql_schema_extensions import schema

    rows = set()

    def add(methods, path):
        rows.update((method, path) for method in methods if method not in ("HEAD", "OPTIONS"))

    for rule in flask_app.url_map.iter_rules():
        path = re.sub(r"<path:(\w+)>", r"{*\1}", rule.rule)
        add(rule.methods, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path))

    def walk(routes, prefix=""):
        for route in routes:
            if hasattr(route, "original_router"):
                walk(route.original_router.routes, prefix + route.include_context.prefix)
            elif getattr(route, "methods", None):
                add(route.methods, re.sub(r"\{(\w+):path\}", r"{*\1}", prefix + route.path))
            elif getattr(route, "routes", None):
                walk(route.routes, prefix + getattr(route, "path", ""))

    walk(create_fastapi_app(flask_app).routes)

    graphql = schema.graphql_schema
    for kind, root in (("QUERY", graphql.query_type), ("MUTATION", graphql.mutation_type)):
        rows.update((kind, field) for field in (root.fields if root else {}))

    assert len(rows) > 100, rows
    json.dump(sorted(rows), sys.stdout)
    print()
