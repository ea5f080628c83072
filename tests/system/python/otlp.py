"""Reads documents of OTLP/JSON with the official schema, which refuses what it does not know.

Protobuf's JSON has bytes as Base64, where OTLP has ids in hexadecimal; nothing else is different. Standard input is a
list of documents; the last line is what was read, as JSON.
"""

import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def with_base64(value):
    """The document, with ids as Protobuf wants them; each has to have its length."""
    if isinstance(value, list):
        return [with_base64(item) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {}
    for key, member in value.items():
        if key in IDS:
            raw = bytes.fromhex(member)
            assert len(raw) == IDS[key] and any(raw) and member == member.lower(), (key, member)
            changed[key] = base64.b64encode(raw).decode()
        else:
            # In JSON, 64 bits are text, and an enumeration is its number.
            assert not key.endswith("UnixNano") or isinstance(member, str), (key, member)
            assert key != "intValue" or isinstance(member, str), (key, member)
            assert key not in ("kind", "code") or isinstance(member, int), (key, member)
            changed[key] = with_base64(member)
    return changed


def attributes(pairs):
    found = {}
    for pair in pairs:
        assert pair.key not in found, pair.key
        found[pair.key] = getattr(pair.value, pair.value.WhichOneof("value"))
    return found


read = {"spans": [], "resource": None}
for document in json.load(sys.stdin):
    request = json_format.ParseDict(with_base64(document), ExportTraceServiceRequest(), ignore_unknown_fields=False)
    # Written again it has to be the same: nothing was passed over.
    assert ExportTraceServiceRequest.FromString(request.SerializeToString()) == request
    for resource in request.resource_spans:
        read["resource"] = attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            assert scope.scope.name == "appliance" and scope.scope.version
            for span in scope.spans:
                read["spans"].append({
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_span_id": span.parent_span_id.hex(),
                    "trace_state": span.trace_state,
                    "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind),
                    "seconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    "attributes": attributes(span.attributes),
                    "status": span.status.code,
                })
print(json.dumps(read))
