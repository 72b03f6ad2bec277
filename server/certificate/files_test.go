package certificate

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// New files take hold at the first handshake that is a second after the last look.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, folder := newAuthority(t, "ca"), newFolder(t)
		folder.pair(ca, "first")
		var log bytes.Buffer
		files := folder.open("", &log)
		server, client := files.TLSConfig(), client(t, ca, nil)
		until := files.NotAfter()

		time.Sleep(time.Hour)
		if got := served(t, server, client); got != "first" || files.Reloads() != 0 || lines(&log) != 0 {
			t.Errorf("got %s, %d reloads", got, files.Reloads())
		}
		folder.pair(ca, "second")
		time.Sleep(lookEvery - time.Nanosecond)
		if got := served(t, server, client); got != "first" {
			t.Errorf("within a second: got %s, want first", got)
		}
		time.Sleep(time.Nanosecond)
		if got := served(t, server, client); got != "second" || files.Reloads() != 1 || files.Failures() != 0 || lines(&log) != 1 {
			t.Errorf("got %s, %d reloads, %d failures; want second, 1, 0", got, files.Reloads(), files.Failures())
		}
		if got := files.NotAfter(); got.Sub(until) != time.Hour {
			t.Errorf("it expires on %v, want an hour after %v", got, until)
		}
	})
}

// What cannot be used changes nothing; it is told once, and what can be used again is.
func TestBrokenFilesKeepTheOld(t *testing.T) {
	ca := newAuthority(t, "ca")
	for _, row := range []struct {
		name, told string
		breakIt    func(*folder)
	}{
		{"half a certificate", "of 1 PEM blocks 0 can be read", func(f *folder) {
			data, _ := ca.issue(t, "half", time.Hour)
			f.put(f.certificate, data[:len(data)/2])
		}},
		{"empty", "nothing in PEM", func(f *folder) { f.put(f.certificate, nil) }},
		{"a key that does not fit", "private key does not match", func(f *folder) {
			_, key := ca.issue(t, "other", time.Hour)
			f.put(f.key, key)
		}},
		{"no key", "no such file", func(f *folder) { os.Remove(f.key) }},
		{"a certificate that is not one", "x509", func(f *folder) {
			f.put(f.certificate, []byte("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"))
		}},
		{"authorities that are none", "block 1 is a PRIVATE KEY", func(f *folder) {
			_, key := ca.issue(t, "other", time.Hour)
			f.put(f.authorities, key)
		}},
		{"authorities, one of them cut off", "of 2 PEM blocks 1 can be read", func(f *folder) {
			f.put(f.authorities, append(ca.pem(), ca.pem()[:100]...))
		}},
		{"an authority that is not one", "certificate 2: x509", func(f *folder) {
			f.put(f.authorities, append(ca.pem(), "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"...))
		}},
		{"large", "larger than 1 MiB", func(f *folder) { f.put(f.authorities, bytes.Repeat([]byte("\n"), maxFile+1)) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				folder, own := newFolder(t), newFolder(t)
				ca := newAuthority(t, "ca")
				folder.pair(ca, "old")
				folder.put(folder.authorities, ca.pem())
				own.pair(ca, "client")
				var log bytes.Buffer
				files := folder.open(folder.authorities, &log)
				server, client := files.TLSConfig(), client(t, ca, own)
				whole, err := os.ReadFile(folder.key)
				if err != nil {
					t.Fatal(err)
				}
				row.breakIt(folder)
				for range 5 {
					time.Sleep(lookEvery)
					if got := served(t, server, client); got != "old" {
						t.Errorf("got %s, want old", got)
					}
				}
				if files.Failures() != 1 || files.Reloads() != 0 || lines(&log) != 1 || !strings.Contains(log.String(), row.told) {
					t.Errorf("got %d failures, %d reloads, log %s; want 1, 0, and %q once", files.Failures(), files.Reloads(), &log, row.told)
				}
				for _, line := range strings.Fields(string(whole)) {
					if len(line) > 30 && strings.Contains(log.String(), line) {
						t.Errorf("the key is in the log: %s", &log)
					}
				}
				folder.put(folder.authorities, ca.pem())
				folder.pair(ca, "new")
				time.Sleep(lookEvery)
				if got := served(t, server, client); got != "new" || files.Failures() != 1 || files.Reloads() != 1 {
					t.Errorf("got %s, %d failures, %d reloads; want new, 1, 1", got, files.Failures(), files.Reloads())
				}
			})
		})
	}
}

// A mistake that is taken back is no reload, and the next is a failure of its own.
func TestMistakeTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, folder := newAuthority(t, "ca"), newFolder(t)
		folder.pair(ca, "old")
		good, err := os.ReadFile(folder.certificate)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		files := folder.open("", &log)
		for _, data := range [][]byte{[]byte("broken"), good, []byte("broken"), []byte("broken too"), good} {
			folder.put(folder.certificate, data)
			time.Sleep(lookEvery)
			files.NotAfter()
		}
		if files.Failures() != 3 || files.Reloads() != 0 || lines(&log) != 3 {
			t.Errorf("got %d failures, %d reloads, log %s; want 3, 0", files.Failures(), files.Reloads(), &log)
		}
	})
}

// An expired certificate does not take the place of one that is good; a good one that
// expires stays, for there is no other.
func TestExpiredFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, folder := newAuthority(t, "ca"), newFolder(t)
		expired, key := ca.issue(t, "expired", time.Minute)
		folder.pair(ca, "good")
		var log bytes.Buffer
		files := folder.open("", &log)
		time.Sleep(time.Hour)
		folder.put(folder.certificate, expired)
		folder.put(folder.key, key)
		if got := served(t, files.TLSConfig(), client(t, ca, nil)); got != "good" || files.Failures() != 1 || !strings.Contains(log.String(), "expired on") {
			t.Errorf("got %s, %d failures, log %s", got, files.Failures(), &log)
		}
		if _, err := Open(folder.certificate, folder.key, "", nil); err == nil || !strings.Contains(err.Error(), "expired on") {
			t.Errorf("got %v, want that it has expired", err)
		}
		time.Sleep(24 * time.Hour)
		if _, _, err := connect(files.TLSConfig(), client(t, ca, nil)); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("got %v, want that the client sees that it has expired", err)
		}
	})
}

// Kubernetes puts a new folder beside the old and swaps the link to it.
func TestLinksAreSwapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, dir := newAuthority(t, "ca"), t.TempDir()
		volume := func(version string) {
			t.Helper()
			folder := &folder{t: t, certificate: filepath.Join(dir, version, "tls.crt"), key: filepath.Join(dir, version, "tls.key")}
			if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
				t.Fatal(err)
			}
			folder.pair(ca, version)
			link := filepath.Join(dir, "..data_tmp")
			if err := os.Symlink(version, link); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
		}
		volume("..1")
		folder := newFolder(t)
		for _, link := range []struct{ to, from string }{{"tls.crt", folder.certificate}, {"tls.key", folder.key}} {
			if err := os.Symlink(filepath.Join(dir, "..data", link.to), link.from); err != nil {
				t.Fatal(err)
			}
		}
		var log bytes.Buffer
		files := folder.open("", &log)
		server, client := files.TLSConfig(), client(t, ca, nil)
		if got := served(t, server, client); got != "..1" {
			t.Errorf("got %s, want the first", got)
		}
		volume("..2")
		if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookEvery)
		if got := served(t, server, client); got != "..2" || files.Reloads() != 1 || files.Failures() != 0 {
			t.Errorf("got %s, %d reloads, %d failures; want the second, 1, 0", got, files.Reloads(), files.Failures())
		}
	})
}

// Handshakes go on while the files change, each with a pair that fits.
func TestManyHandshakesWhileFilesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, folder := newAuthority(t, "ca"), newFolder(t)
		folder.pair(ca, "a")
		var log bytes.Buffer
		files := folder.open("", &log)
		server, client := files.TLSConfig(), client(t, ca, nil)
		for range 5 {
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if _, _, err := connect(server, client); err != nil {
						t.Error(err)
					}
				})
			}
			folder.pair(ca, "b")
			all.Wait()
			time.Sleep(lookEvery)
		}
		if got := served(t, server, client); got != "b" || files.Reloads() == 0 {
			t.Errorf("got %s, %d reloads", got, files.Reloads())
		}
	})
}

func TestOpenErrors(t *testing.T) {
	ca, folder := newAuthority(t, "ca"), newFolder(t)
	folder.pair(ca, "a")
	folder.put(folder.authorities, []byte("hello"))
	for _, row := range []struct{ certificate, key, authorities, want string }{
		{"nowhere", folder.key, "", "certificate: open nowhere: no such file"},
		{folder.certificate, "", "", "certificate: open : no such file"},
		{folder.certificate, folder.certificate, "", "tls.crt: tls: found a certificate rather than a key"},
		{folder.certificate, folder.key, folder.authorities, "ca.crt: nothing in PEM"},
		{folder.certificate, folder.key, "nowhere", "open nowhere: no such file"},
	} {
		if _, err := Open(row.certificate, row.key, row.authorities, nil); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("got %v, want %s", err, row.want)
		}
	}
}
