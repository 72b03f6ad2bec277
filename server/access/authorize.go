package access

import "google.golang.org/grpc/metadata"

// Authorize says who calls a method: the holder of the key in the request's metadata or,
// without one, of the verified client certificate with these names. It gives nil for a
// method that is for everybody. Errors are of type [Unauthenticated] or [Denied].
func (l *List) Authorize(fullMethod string, md metadata.MD, names []string) (*Credential, error) {
	service, public, ok := ServiceOf(fullMethod)
	if !ok {
		return nil, &Denied{whatMethod, fullMethod}
	}
	if public {
		return nil, nil
	}
	c, err := l.authenticate(md, names)
	if err != nil {
		return nil, err
	}
	if !c.Allows(service) {
		return nil, &Denied{whatService, service}
	}
	return c, nil
}

// authenticate goes by the key alone where there is one: a wrong key is not made good by a
// certificate.
func (l *List) authenticate(md metadata.MD, names []string) (*Credential, error) {
	presented, err := KeyOf(md)
	if err != nil {
		return nil, err
	}
	if presented != "" {
		if c, ok := l.Find(presented); ok {
			return c, nil
		}
		return nil, errWrongKey
	}
	if c, ok := l.FindCertificate(names); ok {
		return c, nil
	}
	if len(names) > 0 {
		return nil, errWrongName
	}
	return nil, errNoKey
}
