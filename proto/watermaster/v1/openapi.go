package watermasterv1

import _ "embed"

// OpenAPI describes the calls as JSON over HTTP, in version 2 of OpenAPI. It is generated from
// the .proto files, http.yaml and openapi.yaml.
//
//go:embed openapi.swagger.json
var OpenAPI []byte
