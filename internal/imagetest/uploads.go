package imagetest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"

	"github.com/opencontainers/go-digest"
)

// uploads are the sessions in which blobs come: distribution-spec, "Pushing blobs".
type uploads struct {
	blobs *blobs

	mu       sync.Mutex
	sessions map[string]*upload
	last     int
}

// upload is one session.
type upload struct {
	mu  sync.Mutex
	raw []byte
}

var uploadPath = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/([^/]*)$`)

// serve answers what is about a session, and returns false for what is not.
func (u *uploads) serve(w http.ResponseWriter, r *http.Request) bool {
	part := uploadPath.FindStringSubmatch(r.URL.Path)
	if part == nil {
		return false
	}
	repository, id := part[1], part[2]
	if id == "" {
		if r.Method != http.MethodPost || r.URL.Query().Has("mount") || r.URL.Query().Has("digest") {
			return false
		}
		u.begin(w, repository)
		return true
	}
	u.mu.Lock()
	session := u.sessions[repository+"/"+id]
	u.mu.Unlock()
	if session == nil {
		refuse(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", errors.New("there is no such upload"))
		return true
	}
	switch r.Method {
	case http.MethodGet:
		session.mu.Lock()
		defer session.mu.Unlock()
		u.at(w, repository, id, session.raw, http.StatusNoContent)
	case http.MethodPatch, http.MethodPut:
		u.take(w, r, repository, id, session)
	case http.MethodDelete:
		u.end(repository, id)
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", errors.New("uploads are not asked that"))
	}
	return true
}

// begin starts a session.
func (u *uploads) begin(w http.ResponseWriter, repository string) {
	u.mu.Lock()
	u.last++
	id := strconv.Itoa(u.last)
	u.sessions[repository+"/"+id] = &upload{}
	u.mu.Unlock()
	u.at(w, repository, id, nil, http.StatusAccepted)
}

// take takes a piece, and with PUT ends the upload. A body that breaks leaves what came
// before it.
func (u *uploads) take(w http.ResponseWriter, r *http.Request, repository, id string, session *upload) {
	piece, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "BLOB_UPLOAD_INVALID", err)
		return
	}
	session.mu.Lock()
	defer session.mu.Unlock()
	if span := r.Header.Get("Content-Range"); span != "" {
		var first, last int
		if _, err := fmt.Sscanf(span, "%d-%d", &first, &last); err != nil || first != len(session.raw) || last-first+1 != len(piece) {
			w.Header().Set("Range", rangeOf(session.raw))
			refuse(w, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", fmt.Errorf("%s does not follow %d bytes", span, len(session.raw)))
			return
		}
	}
	if r.Method == http.MethodPatch {
		session.raw = append(session.raw, piece...)
		u.at(w, repository, id, session.raw, http.StatusAccepted)
		return
	}
	want := digest.Digest(r.URL.Query().Get("digest"))
	raw := append(session.raw, piece...)
	if want.Validate() != nil || want.Algorithm().FromBytes(raw) != want {
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", fmt.Errorf("what was sent is %s", digest.FromBytes(raw)))
		return
	}
	u.end(repository, id)
	u.blobs.keep(repository, want.String(), raw)
	w.Header().Set("Location", "/v2/"+repository+"/blobs/"+want.String())
	w.Header().Set("Docker-Content-Digest", want.String())
	w.WriteHeader(http.StatusCreated)
}

func (u *uploads) end(repository, id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.sessions, repository+"/"+id)
}

// at answers where a session goes on.
func (u *uploads) at(w http.ResponseWriter, repository, id string, raw []byte, status int) {
	w.Header().Set("Location", "/v2/"+repository+"/blobs/uploads/"+id)
	w.Header().Set("Range", rangeOf(raw))
	w.WriteHeader(status)
}

// rangeOf is what a session has, as the specification writes it.
func rangeOf(raw []byte) string { return fmt.Sprintf("0-%d", max(len(raw)-1, 0)) }
