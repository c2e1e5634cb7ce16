package check

import (
	"fmt"

	"berth/launch"
	"berth/platform"
	"berth/store"
	"berth/target"
	"berth/workload"
)

// Origin is where a deployment file asks for an image.
type Origin struct {
	File      *workload.File
	Workload  *workload.Workload
	Container *workload.Container
	// Peers are all subjects of the workload, this one included.
	Peers []*Subject
}

// imagePos is the place that names the image, or says how it is built.
func (o *Origin) imagePos() workload.Pos {
	if o.Container.Image.Pos.Line == 0 && o.Container.Build != nil {
		return o.Container.Build.Pos
	}
	return o.Container.Image.Pos
}

// Deployed returns what is to be found out about the workloads of files: a subject for
// each container and each platform that it may land on. What a file includes of another
// that is read too is there once. Workloads for which nothing determines a platform are
// held against fallback, where that is not empty.
func Deployed(readings []*workload.Reading, fallback []target.Need) []*Subject {
	var subjects []*Subject
	seen := map[string]*workload.Reading{}
	for _, r := range readings {
		for _, s := range deployed(r, fallback) {
			if key := s.place(); seen[key] == nil || seen[key] == r {
				seen[key] = r
				subjects = append(subjects, s)
			}
		}
	}
	return subjects
}

// place tells subjects apart that are about the same line of a file.
func (s *Subject) place() string {
	return fmt.Sprint(s.Origin.imagePos(), s.Name, s.Origin.Workload, s.Origin.Container.Name, platform.Format(s.Need.Platform), s.Need.Why)
}

func deployed(r *workload.Reading, fallback []target.Need) []*Subject {
	var subjects []*Subject
	for _, w := range r.Workloads {
		var peers []*Subject
		for i := range w.Containers {
			for _, need := range needsOf(w, fallback) {
				s := &Subject{Need: need, Origin: &Origin{File: r.File, Workload: w, Container: &w.Containers[i]}}
				s.fromContainer()
				peers = append(peers, s)
			}
		}
		for _, s := range peers {
			s.Origin.Peers = peers
		}
		subjects = append(subjects, peers...)
	}
	return subjects
}

// needsOf are the needs of a workload: one without a platform where nothing says more.
func needsOf(w *workload.Workload, fallback []target.Need) []target.Need {
	q := w.Requirement
	if q.Certainty == workload.Undetermined {
		if len(fallback) > 0 {
			return fallback
		}
		return []target.Need{{Target: q.Target, Why: q.Why}}
	}
	var needs []target.Need
	for _, p := range q.Platforms {
		needs = append(needs, target.Need{Target: q.Target, Platform: p, Why: q.Why})
	}
	return needs
}

// fromContainer fills in what the container says of s.
func (s *Subject) fromContainer() {
	c := s.Origin.Container
	s.Name = c.Image.Text
	s.Override = launch.Override{
		Entrypoint: c.Process.Entrypoint, Command: c.Process.Command,
		User: c.Process.User, WorkDir: c.Process.WorkDir, Env: c.Process.Env,
	}
	switch {
	case !c.Image.Known():
		s.Open = "which image it is: " + c.Image.Unknown
	case c.Build != nil:
		if s.Name == "" {
			s.Name = "what is built from " + dockerfileOf(c.Build)
		}
		s.Open = "the image is built when it is deployed: there are no bytes to prove yet"
	default:
		ref, err := store.ParseReference(c.Image.Text)
		if err != nil {
			s.Err = fmt.Errorf("image %q: %w", c.Image.Text, err)
			return
		}
		s.Reference = ref
	}
}

func dockerfileOf(b *workload.Build) string {
	if b.Dockerfile == "" {
		return "a Dockerfile"
	}
	return b.Dockerfile
}

// undetermined says what is not known where nothing determines a platform, and what the
// image has.
func (s *Subject) undetermined() string {
	why := "which platform it will run on: " + s.Need.Why
	var have []platform.Platform
	for _, m := range s.Image.Images() {
		have = append(have, m.Platform())
	}
	if len(have) == 0 {
		return why
	}
	return why + " (the image has " + formats(have) + ")"
}

// workloadHas tells whether all images of the workload have a platform, and so whether
// it could run there as a whole.
func (o *Origin) workloadHas(p platform.Platform) bool {
	for _, peer := range o.Peers {
		if peer.Image == nil {
			return false
		}
		if m, err := peer.Image.Select(p); err != nil || !sameMachine(m.Platform(), p) {
			return false
		}
	}
	return len(o.Peers) > 0
}
