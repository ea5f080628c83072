"""Prints the fields of MLflow's GraphQL schema that have fields of their own: type, name, own type."""
import json

from graphql import GraphQLObjectType, get_named_type

from mlflow.server.graphql.graphql_schema_extensions import schema

NAMES = {"Query": "QUERY", "Mutation": "MUTATION"}


def name(kind):
    # Types that MLflow extends are called so.
    return NAMES.get(kind.name, kind.name.removesuffix("Extension"))


types = schema.graphql_schema.type_map.values()
objects = [kind for kind in types if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__")]
rows = [
    [name(kind), field, name(get_named_type(definition.type))]
    for kind in objects
    for field, definition in kind.fields.items()
    if isinstance(get_named_type(definition.type), GraphQLObjectType)
]
print(json.dumps(rows))
