package launch

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
)

// mutations is how many files of each kind [TestMutations] makes, unless the environment
// variable MUTATIONS says more.
const mutations = 300

// TestMutations holds proofs of mutated headers and first lines against execve: what is
// predicted happens, and nothing that the kernel refuses is said to start.
func TestMutations(t *testing.T) {
	host := thisMachine(t)
	if emulated := handlers(t); len(emulated) > 0 {
		imagetest.Missing(t, "a kernel without emulation (binfmt_misc has "+strings.Join(emulated, ", ")+")", "switch them off: echo 0 into each")
	}
	n := mutations
	if more, err := strconv.Atoi(os.Getenv("MUTATIONS")); err == nil {
		n = more
	}
	files := one(exe("sh", static), exe("ld.so", sharedObject), file("data", 0o644, "x"), dir("d", 0o755))
	for i, kind := range []struct {
		name   string
		mutate func(*rand.Rand) string
	}{
		{"static", mutateELF(static)},
		{"dynamic", mutateELF(elf("linux/amd64", "/ld.so"))},
		{"386", mutateELF(elf("linux/386", ""))},
		{"two program headers", mutateELF(withStack(static))},
		{"script", mutateScript},
	} {
		t.Run(kind.name, func(t *testing.T) {
			root := t.TempDir()
			layOut(t, root, files)
			random := rand.New(rand.NewPCG(1, uint64(i)))
			counts := map[Verdict]int{}
			for range n {
				body := kind.mutate(random)
				app := exe("app", body)
				// What runs is random code: not as root.
				process := v1.ImageConfig{Entrypoint: []string{"/app"}, User: "65534:65534"}
				proof := prove(t, imageOf(t, append(files[:len(files):len(files)], app)), process, host)
				counts[proof.Verdict]++
				if proof.Verdict == Unknown {
					continue
				}
				want, ok := predicted(proof)
				if !ok {
					t.Fatalf("it ends before execve: %+v\n%q", proof.Failure, body)
				}
				layOut(t, root, one(app))
				got := executeAs(t, root, process, &syscall.Credential{Uid: 65534, Gid: 65534})
				if got != want {
					t.Errorf("the kernel: %s\npredicted: %s (%s)\n%+v\n%q", got, want, summary(proof), proof.Failure, body)
				}
			}
			t.Logf("%d mutations: %s", n, fmt.Sprint(counts))
		})
	}
}

// numbers are values that bounds are made of.
var numbers = []uint64{0, 1, 2, 8, 0x78, 0x80, 0x1000, 0xfff, 0x1001, 0x2000, 0x10000, 0x11000, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 40, 1 << 47, 1<<63 - 1, 1 << 63, 1<<64 - 1}

// mutateELF changes a few bytes or fields of the headers, or the length. It leaves the
// entry address and the code alone: where they change, what runs is not the kernel's doing.
func mutateELF(original string) func(*rand.Rand) string {
	headers := 64 + phSize
	if original[4] == 1 {
		headers = 52 + 32
	}
	return func(r *rand.Rand) string {
		b := []byte(original)
		for range 1 + r.IntN(3) {
			at := r.IntN(headers)
			if phoff := int(binary.LittleEndian.Uint32(b[atPhoff:])); r.IntN(2) == 0 && original[4] == 2 && phoff < len(original) {
				at = phoff + r.IntN(len(original)-phoff)
			}
			switch r.IntN(5) {
			case 0:
				b[at] = byte(r.Uint32())
			case 1:
				b[at] ^= 1 << r.IntN(8)
			case 2:
				binary.LittleEndian.PutUint16(b[min(at, len(b)-2):], uint16(numbers[r.IntN(len(numbers))]))
			case 3:
				at &^= 7
				binary.LittleEndian.PutUint64(b[min(at, len(b)-8):], numbers[r.IntN(len(numbers))])
			case 4:
				at &^= 3
				binary.LittleEndian.PutUint32(b[min(at, len(b)-4):], uint32(numbers[r.IntN(len(numbers))]))
			}
		}
		// The entry address, in either class, and the code are as they were.
		copy(b[atEntry:], original[atEntry:atEntry+8])
		code := strings.LastIndex(original, "\x31")
		copy(b[code:], original[code:])
		switch r.IntN(20) {
		case 0:
			b = b[:r.IntN(len(b))]
		case 1:
			// Less than a page: a whole one of zeros could be mapped as the code.
			b = append(b, make([]byte, r.IntN(3000))...)
		}
		return string(b)
	}
}

// words are what first lines are made of.
var words = []string{"#!", "#!", "#!", " ", "\t", "\n", "\r", "\x00", "/", "/sh", "/sh", "sh", "/data", "/d", "/d/../sh", "/nope", "/app", "x", ".", "..", strings.Repeat(" ", 120), strings.Repeat("/", 120), strings.Repeat("x", 120), "\xef\xbb\xbf"}

// mutateScript puts words together.
func mutateScript(r *rand.Rand) string {
	var b strings.Builder
	if r.IntN(10) > 0 {
		b.WriteString("#!")
	}
	for range 1 + r.IntN(6) {
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.String()
}
