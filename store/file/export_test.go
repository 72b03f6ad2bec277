package file

// Directory gives where an organization's files are.
func Directory(l *Log, organization string) string {
	return newStream(l, organization, 0).dir
}

// Descriptor gives that of the file that an organization's entries are appended to.
func Descriptor(l *Log, organization string) int {
	s := l.streams[organization]
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.fd)
}

// Sweep forgets idle organizations.
func Sweep(l *Log) { l.syncer.sweep() }

// Synced says up to which entry an organization's log is known to be on the disk.
func Synced(l *Log, organization string) uint64 {
	s := l.streams[organization]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced
}
