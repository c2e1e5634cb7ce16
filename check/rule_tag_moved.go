package check

var tagMoved = Rule{
	ID:    "BER025",
	Name:  "tag-moved",
	Doc:   "The tag names another image than the one that was locked.",
	needs: anImage,
	Check: func(s *Subject) []Finding {
		if s.Locked == "" || s.Now == "" || s.Locked == s.Now {
			return nil
		}
		return []Finding{{
			Severity: Warning,
			Message:  s.Name + " was locked as " + s.Locked.String() + ", which is what was checked, and names " + s.Now.String() + " now",
			Fixes: []Fix{
				{Title: "deploy the digest that was locked"},
				{Title: "or remove its line from the lock file, and check again"},
			},
		}}
	},
}
