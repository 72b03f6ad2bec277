// Package watermasterv1 is the wire: the calls of LimiterService and MonitorService, generated
// from limiter.proto and monitor.proto, which document every field with its unit, range
// and default. Rules that protovalidate checks stand with the fields. Only server and
// clients see it. http.yaml says how the calls are reached by JSON over HTTP; the OpenAPI
// document is generated from all three.
package watermasterv1
