// Package web serves the calls as JSON over HTTP, and the pages that run a service: health,
// readiness, metrics, the configuration in force and the OpenAPI document.
//
//	HTTP ── route ── check ── gateway (generated) ── bufconn ── gRPC, with its interceptors
//
// The gateway is a client of a gRPC server in the same process, so that a call by JSON goes
// through the very same credentials, rules and logs as one by gRPC. Nothing of a call is
// decided here.
//
// # What is strict
//
// A path, a method, a query parameter or a field that does not exist is refused, with a
// google.rpc.Status that says where and what was probably meant. So is a body on GET and a
// query on POST: what would be ignored was meant.
//
// # What reaches gRPC
//
// Of the headers Authorization and X-Api-Key, and no other: no deadline (block bounds the
// wait, and a client that goes away ends its call), no address and nothing that a client could
// name. Who the client is by its connection, a certificate for instance, is told by [PeerOf].
//
// # JSON
//
// Names in answers are those of the .proto. What is unset is left out; what is 0, false or
// empty is not, so that a script that reads remaining finds "0" there when nothing is left.
package web
