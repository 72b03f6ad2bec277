package access

import (
	"strings"

	"github.com/watermaster-project/watermaster/server/config"
)

// Reflection is the service of gRPC's server reflection, which every credential is for.
const Reflection = "reflection"

// services are all that may be called, by gRPC's names. Whatever else is registered one day
// is refused until it stands here.
var services = map[string]string{
	"watermaster.v1.LimiterService":               config.ServiceLimiter,
	"watermaster.v1.MonitorService":               config.ServiceMonitor,
	"watermaster.v1.AdminService":                 config.ServiceAdmin,
	"envoy.service.ratelimit.v3.RateLimitService": config.ServiceEnvoy,
	"grpc.reflection.v1.ServerReflection":         Reflection,
	"grpc.reflection.v1alpha.ServerReflection":    Reflection,
}

// ServiceOf says which service a method belongs to, as gRPC spells it:
// /package.Service/Method. public methods are for everybody and belong to none; what is
// not ok is for nobody.
func ServiceOf(fullMethod string) (service string, public, ok bool) {
	if fullMethod == "/grpc.health.v1.Health/Check" || fullMethod == "/grpc.health.v1.Health/Watch" {
		return "", true, true
	}
	name, found := strings.CutPrefix(fullMethod, "/")
	slash := strings.LastIndexByte(name, '/') // as gRPC splits it
	if !found || slash < 0 || slash == len(name)-1 {
		return "", false, false
	}
	service, ok = services[name[:slash]]
	return service, false, ok
}
