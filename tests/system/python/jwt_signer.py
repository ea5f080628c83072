"""Signs JWTs with joserfc, which is not the appliance's code: prints the issuer's key set, and one token for each algorithm."""

import json
import sys
import time

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

issuer, audience = sys.argv[1:]
keys = {
    "rsa-2048": RSAKey.generate_key(2048),
    "rsa-3072": RSAKey.generate_key(3072),
    "rsa-4096": RSAKey.generate_key(4096),
    "p-256": ECKey.generate_key("P-256"),
    "p-384": ECKey.generate_key("P-384"),
    "ed25519": OKPKey.generate_key("Ed25519"),
}
algorithms = {
    "rsa-2048": ["RS256", "PS256", "RS384", "PS384"],
    "rsa-3072": ["RS256", "PS256"],
    "rsa-4096": ["RS256", "PS256", "RS512", "PS512"],
    "p-256": ["ES256"],
    "p-384": ["ES384"],
    "ed25519": ["EdDSA"],
}
now = int(time.time())
claims = {"iss": issuer, "aud": audience, "iat": now, "nbf": now, "exp": now + 300}
tokens = []
for name, key in keys.items():
    for algorithm in algorithms[name]:
        header = {"alg": algorithm, "kid": name, "typ": "JWT"}
        subject = f"{name}-{algorithm}"
        token = jwt.encode(header, {**claims, "sub": subject}, key, algorithms=[algorithm])
        tokens.append({"algorithm": algorithm, "subject": subject, "token": token})
public = [{**key.as_dict(private=False), "kid": name} for name, key in keys.items()]
print(json.dumps({"keys": public, "tokens": tokens}))
