package tables

// trim knows which prefix of the changelog holds nothing that is still of use, so that expired rows leave the topic by
// DeleteRecords instead of a tombstone each.
type trim struct {
	segments []segment
	latest   int64 // latest due time of the rows since the last commit
	any      bool
}

// segment is a run of changelog records.
type segment struct {
	end int64 // offset behind its last record
	due int64 // when the last of its rows is due
}

const maxSegments = 1024

func (t *trim) put(due int64) {
	if !t.any || due > t.latest {
		t.latest, t.any = due, true
	}
}

// commit ends a segment before offset.
func (t *trim) commit(offset int64) {
	if !t.any {
		return
	}
	t.segments = append(t.segments, segment{offset, t.latest})
	t.any = false
	if len(t.segments) < maxSegments {
		return
	}
	for i := 0; i < len(t.segments)/2; i++ {
		a, b := t.segments[2*i], t.segments[2*i+1]
		t.segments[i] = segment{b.end, max(a.due, b.due)}
	}
	t.segments = t.segments[:len(t.segments)/2]
}

// below returns the end of the last segment such that it and all before it are due, 0 where there is none.
func (t *trim) below(watermark int64) int64 {
	offset, n := int64(0), 0
	for n < len(t.segments) && t.segments[n].due < watermark {
		offset = t.segments[n].end
		n++
	}
	t.segments = t.segments[n:]
	return offset
}
