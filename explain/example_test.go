package explain_test

import (
	"fmt"

	"berth/explain"
)

func Example() {
	log := `{"stream":"stderr","log":"exec /docker-entrypoint.sh: exec format error\n"}`
	reading := explain.Recognise(log)
	said := reading.Said[0]
	fmt.Println(said.Text.ID, said.Text.Errno, said.Path, "by", said.Form.Who)

	explanation := explain.Explain(reading, nil)
	fmt.Println(explanation.Conclusion)
	fmt.Println(explanation.Summary)
	fmt.Println(explanation.Next[0].Command)
	// Output:
	// exec-format-error ENOEXEC /docker-entrypoint.sh by runc
	// likely
	// Most likely, the program is for another architecture than the host.
	// berth explain --image IMAGE 'exec /docker-entrypoint.sh: exec format error'
}
