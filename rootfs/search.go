package rootfs

import "path"

// search looks for a path in the tree of one layer, as far as that was read.
type search struct {
	content  *content
	parts    []string
	explicit bool
	cursor   cursor
	// pruned is the value of content.pruned that the cursor was right for.
	pruned int
}

// cursor is how far down a path a layer's tree goes.
type cursor struct {
	at    uint32
	depth int
	ends  ending
	thing
}

// thing is what a layer has somewhere.
type thing struct {
	content *content
	entry   entry
	// node is the entry that has the mode, size and target, and inode a copy of it.
	node   uint32
	inode  entry
	target string
	// opaque says that it, or a folder that it is in, hides lower layers.
	opaque bool
}

type ending int

const (
	open   ending = iota // the layer has nothing there: the one below may
	found                // the path is there
	hidden               // something else is in its way, and hides it in lower layers too
)

// look goes on from where the search was. It tells whether nothing that the layer may still
// bring changes the answer.
func (s *search) look() (final bool, err error) {
	if s.pruned != s.content.pruned {
		s.cursor, s.pruned = cursor{}, s.content.pruned
	}
	if err := s.descend(); err != nil {
		return false, err
	}
	e := s.content.table.at(s.cursor.at)
	// A whiteout may give way to an entry that comes after it.
	final = s.cursor.ends != open && e.flags&whiteout == 0
	if s.explicit && e.flags&implied != 0 {
		final = false
	}
	return final, nil
}

// descend goes down as far as the layer has the path.
func (s *search) descend() error {
	t, c := &s.content.table, &s.cursor
	for c.ends = open; c.depth < len(s.parts); c.depth++ {
		if e := t.at(c.at); !e.mode.IsDir() {
			c.ends = hidden
			return nil
		}
		child := t.child(c.at, s.parts[c.depth])
		if child == none {
			return nil
		}
		if t.at(child).flags&twice != 0 {
			return &refusal{"/" + path.Join(s.parts[:c.depth+1]...), repeated}
		}
		c.at = child
	}
	if t.at(c.at).flags&whiteout != 0 {
		c.ends = hidden
		return nil
	}
	c.ends = found
	return nil
}

// result is the cursor with what is there.
func (s *search) result() cursor {
	t, c := &s.content.table, s.cursor
	node := t.inode(c.at)
	c.thing = thing{content: s.content, entry: *t.at(c.at), node: node, inode: *t.at(node)}
	c.target = string(t.bytes(c.inode.target))
	for i := c.at; i != root && !c.opaque; i = t.at(i).parent {
		c.opaque = t.at(i).flags&opaque != 0
	}
	return c
}
