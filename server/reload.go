package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/access"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/envoy"
)

// A directory is the organizations of a configuration. It never changes: another
// configuration is another directory.
type directory struct {
	config        *config.Config
	access        *access.List             // nil: there are no credentials, and everybody may do all
	list          []*organization          // in the order of the configuration
	byName        map[string]*organization // also under former names that nobody else has
	byFingerprint map[uint32]*organization // likewise

	limits  *envoy.Limits      // of Envoy's domains; nil: there are none
	domains map[string]*domain // those that have limits
	hidden  []*organization    // theirs
}

// An OlderRevision says that a configuration numbers itself below the one in force.
type OlderRevision struct {
	Organization      string
	Revision, InForce int64
}

func (e *OlderRevision) Error() string {
	return fmt.Sprintf("organization %s: revision %d is not above %d, which is in force: raise `revision`",
		e.Organization, e.Revision, e.InForce)
}

// Reload puts another configuration in force while calls go on: counters are kept, also of
// what is renamed (`was:`). What cannot be compiled, numbers itself below what is in force,
// or needs a log that cannot be opened changes nothing. An error of the log later than that
// leaves the organizations that it names with their former limits until the log is back.
func (s *Server) Reload(ctx context.Context, cfg *config.Config) error {
	select {
	case s.reloading <- struct{}{}:
		defer func() { <-s.reloading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.isDraining() {
		return errDraining
	}
	old := s.directory.Load()
	if old != nil && old.config.Hash == cfg.Hash && old.config.Revision == cfg.Revision {
		return nil
	}
	if err := s.envoy.Check(cfg, old.limits); err != nil {
		return err
	}
	next, err := s.prepare(old, cfg)
	if err != nil {
		return err
	}
	for _, p := range next {
		if p.organization == nil { // begun, or under another name
			if p.former != nil {
				p.former.retire(ctx)
			}
			p.organization = s.newOrganization(p.edition)
			if err := p.organization.open(ctx, p.former != nil, s.snapshotEvery); err != nil {
				s.abandon(ctx, old, next)
				return err
			}
			p.begun = true
		}
	}
	s.publish(old, cfg, next)
	var failed error
	for _, p := range next {
		if !p.begun {
			failed = errors.Join(failed, p.organization.reconfigure(p.edition))
		}
	}
	return failed
}

// awaitReload returns when no configuration is being put in force, or the caller leaves.
func (s *Server) awaitReload(ctx context.Context) {
	select {
	case s.reloading <- struct{}{}:
		<-s.reloading
	case <-ctx.Done():
	}
}

// present does what a call asks for, once more if its organization has been put under
// another name meanwhile.
func present[T any](ctx context.Context, s *Server, do func() (T, error)) (T, error) {
	answer, err := do()
	if errors.Is(err, errRetired) {
		s.awaitReload(ctx)
		return do()
	}
	return answer, err
}

// A change is what becomes of one organization of a new configuration.
type change struct {
	edition      *edition
	organization *organization // nil: it has to be begun
	former       *organization // of another name, whose counters it takes over
	begun        bool
}

// prepare compiles a configuration and says what becomes of each organization. Nothing has
// changed yet.
func (s *Server) prepare(old *directory, cfg *config.Config) ([]*change, error) {
	configured := map[string]bool{}
	for i := range cfg.Organizations {
		configured[cfg.Organizations[i].Name] = true
	}
	digests := map[uint32]string{}
	var list []*change
	for i := range cfg.Organizations {
		e, err := newEdition(cfg, &cfg.Organizations[i])
		if err != nil {
			return nil, err
		}
		e.counts = s.metrics.Edition(cfg, e.settings)
		name := e.settings.Name
		if other, taken := digests[fingerprint(name)]; taken {
			return nil, fmt.Errorf("the organizations %s and %s have the same digest: rename one", other, name)
		}
		digests[fingerprint(name)] = name
		p := &change{edition: e}
		if o := old.find(name); o != nil {
			p.organization = o
			err = o.accepts(e)
		} else if was := old.find(e.settings.Was); was != nil && !configured[was.name] {
			p.former = was
			err = was.accepts(e)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// find gives an organization by its present name.
func (d *directory) find(name string) *organization {
	if d == nil || name == "" {
		return nil
	}
	if o := d.byName[name]; o != nil && o.name == name {
		return o
	}
	return nil
}

// publish makes a configuration's organizations those that are found, and sends away who
// waits at others.
func (s *Server) publish(old *directory, cfg *config.Config, next []*change) {
	d := &directory{config: cfg, byName: map[string]*organization{}, byFingerprint: map[uint32]*organization{}}
	if old != nil {
		d.limits, d.domains, d.hidden = old.limits, old.domains, old.hidden
	}
	if list := access.Compile(cfg.Credentials); !list.Empty() {
		d.access = list
	}
	for _, p := range next {
		d.list = append(d.list, p.organization)
		d.byName[p.organization.name] = p.organization
		d.byFingerprint[p.organization.fingerprint] = p.organization
	}
	for _, p := range next {
		if was := p.edition.settings.Was; was != "" && d.byName[was] == nil {
			d.byName[was] = p.organization
			if f := fingerprint(was); d.byFingerprint[f] == nil {
				d.byFingerprint[f] = p.organization
			}
		}
	}
	s.directory.Store(d)
	if old == nil {
		return
	}
	for _, o := range old.list {
		if d.byName[o.name] != o {
			o.retire(context.Background())
			o.close()
			if d.byName[o.name] == nil {
				s.logger.Info("an organization is no longer served", "organization", o.name)
			}
		}
	}
}

// abandon takes back what was begun for a configuration that does not come into force. An
// organization that was retired for it begins anew from its log.
func (s *Server) abandon(ctx context.Context, old *directory, next []*change) {
	back := map[*organization]*organization{}
	for _, p := range next {
		if p.begun {
			p.organization.retire(ctx)
			p.organization.close()
		}
		if o := p.former; o != nil && o.retired.Load() {
			o.close()
			again := s.newOrganization(o.edition.Load())
			if err := again.open(ctx, false, s.snapshotEvery); err != nil {
				s.logger.Error("an organization is lost to a configuration that could not be put in force",
					"organization", o.name, "error", err)
			}
			back[o] = again
		}
	}
	if len(back) == 0 {
		return
	}
	d := new(directory)
	*d = *old
	d.list, d.byName, d.byFingerprint = slices.Clone(old.list), maps.Clone(old.byName), maps.Clone(old.byFingerprint)
	for was, again := range back {
		d.list[slices.Index(d.list, was)] = again
		for name, o := range d.byName {
			if o == was {
				d.byName[name] = again
			}
		}
		for f, o := range d.byFingerprint {
			if o == was {
				d.byFingerprint[f] = again
			}
		}
	}
	s.directory.Store(d)
}

// accepts says whether an edition can follow the one in force.
func (o *organization) accepts(e *edition) error {
	o.replica.Lock()
	defer o.replica.Unlock()
	_, err := o.follow(e)
	return err
}

// follow gives the generation under which an edition comes into force. A log that other
// processes read has one order of generations for all of them; where there is nobody else,
// the latest that was asked for holds, whatever its file's time. But of two that number
// themselves the higher wins everywhere. The caller holds the replica's lock.
func (o *organization) follow(e *edition) (generation int64, err error) {
	inForce, hash, ok := o.engine().Configuration()
	shared := o.replica.Shared()
	switch {
	case !ok || e.revision > inForce || e.revision == inForce && e.hash == hash:
		return e.revision, nil
	case shared && e.hash == hash:
		return inForce, nil // the same, in a file of another time
	case shared:
		return e.revision, nil // who has a later one keeps it, and this process says so
	case e.revision < numbered && inForce < numbered:
		return 0, &OlderRevision{e.settings.Name, e.revision, inForce}
	}
	if e.hash == hash {
		return inForce, nil
	}
	return inForce + 1, nil
}

// numbered is above every revision that counts, and below every one that is a file's time.
const numbered = 1_000_000_000_000_000

// reconfigure puts an edition in force.
func (o *organization) reconfigure(e *edition) error {
	o.replica.Lock()
	if o.replica.Lost() {
		o.replica.Unlock()
		return fmt.Errorf("organization %s: its state is lost to a fault", o.name)
	}
	generation, err := o.follow(e)
	if err != nil {
		o.replica.Unlock()
		return err
	}
	e.generation = generation
	cmd := o.configure(e)
	o.next = e
	o.replica.Unlock()

	c := o.calls.get()
	defer c.free()
	o.propose(cmd, c)
	if c.out.err != nil {
		return fmt.Errorf("organization %s: configure: %w", o.name, c.out.err)
	}
	o.replica.Lock()
	defer o.replica.Unlock()
	if !o.engine().Configured(e.generation, e.hash) {
		if o.next == e {
			o.next = nil
		}
		inForce, _, _ := o.engine().Configuration()
		older := &OlderRevision{o.name, e.revision, inForce}
		if !o.replica.Shared() {
			return older
		}
		if !o.older {
			o.logger.Warn("other processes have a later configuration, whose limits are in force: give this one the same file",
				"revision", older.Revision, "in force", older.InForce)
		}
		o.older = true
		o.edition.Store(e)
		o.configured()
		return nil
	}
	o.older = false
	if o.next == e { // it was in force already
		o.configured()
	}
	return nil
}

// configure makes the command that puts an edition in force. The caller holds the replica's
// lock.
func (o *organization) configure(e *edition) *limiter.Configure {
	cmd := e.policy.Configure()
	cmd.Generation = e.generation
	_, _, configured := o.engine().Configuration()
	if o.began.Organization = o.name; !configured {
		cmd.ColdStart, cmd.Kept = e.settings.ColdStart, max(0, o.replica.Kept())
		hold := limiter.ColdHold(cmd)
		o.began = Beginning{o.name, cmd.Kept < hold, cmd.ColdStart, hold}
	}
	return cmd
}

// retire ends an organization: who waits is sent away, with the places kept, and nothing
// is appended any more. The last state is put into its log, for a successor.
func (o *organization) retire(ctx context.Context) {
	o.goneOnce.Do(func() { close(o.gone) })
	for range 100 { // callers take themselves away through the log
		if !o.anyCalls() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	o.leaveSeat()
	if o.retired.Swap(true) {
		return
	}
	c := o.calls.get()
	defer c.free()
	o.propose(&limiter.Tick{}, c) // it fails, behind whatever was under way
	o.replica.Wait()
	if s, ok := o.replica.Written(); ok {
		o.replica.Install(ctx, s)
	}
}

// anyCalls says whether a call waits.
func (o *organization) anyCalls() bool {
	o.replica.Lock()
	defer o.replica.Unlock()
	for _, p := range o.places {
		if p.calls != nil {
			return true
		}
	}
	return false
}
