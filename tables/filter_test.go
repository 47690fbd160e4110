package tables

import (
	"math/rand/v2"
	"testing"
)

func TestTheFilterKnowsEveryKeyAndFewOthers(t *testing.T) {
	var f filter
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 300_000
	keys := make([]uint32, n)
	for i := range keys {
		keys[i] = rng.Uint32()
		f.add(keys[i])
	}
	for _, k := range keys {
		if !f.has(k) {
			t.Fatalf("key %x was added and is not known", k)
		}
	}
	if got := f.keys(); got > n || got < n*9/10 {
		t.Errorf("%d keys counted, %d added", got, n)
	}
	wrong := 0
	for range n {
		if f.has(rng.Uint32()) {
			wrong++
		}
	}
	if wrong > n/200 {
		t.Errorf("%d of %d other keys are taken for known", wrong, n)
	}
}

// However many keys come, the store is not read again for them; it is when most of them have left.
func TestALookIsBegunWhenKeysHaveLeft(t *testing.T) {
	db, err := openFolder(t.TempDir(), storeOptions(&Options{}, func(err error) { t.Error(err) }, func(err error) { t.Error(err) }), func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var k diskKeys
	k.begin(db, true)
	defer k.end()
	for hash := range uint32(3 * staleKeys) {
		k.wrote(hash * 0x9E3779B9)
	}
	k.settle(db)
	if k.look != nil {
		t.Fatal("the store is read again though it has only grown")
	}
	k.left = 2 * staleKeys
	k.settle(db)
	if k.look == nil {
		t.Error("the store is not read again though most of its keys have left")
	}
}

// A store that is opened again knows its keys from a look at it; those written while it looks, and before it began, are
// known throughout.
func TestALookFindsEveryKey(t *testing.T) {
	var written []uint32
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3 {
		db, err := openFolder(dir, storeOptions(&Options{}, func(err error) { t.Error(err) }, func(err error) { t.Error(err) }), func() error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		var k diskKeys
		k.begin(db, len(written) == 0)
		write := func() {
			key := make([]byte, 8)
			for i := range key {
				key[i] = byte(rng.Uint32())
			}
			k.settle(db)
			k.wrote(hash32(key))
			if err := db.Set(append(rowPrefix(key), 1, byte(rng.Uint32())), nil, nil); err != nil {
				t.Fatal(err)
			}
			written = append(written, hash32(key))
		}
		for range 2000 {
			write()
		}
		if k.look == nil {
			k.begun(db)
		}
		for k.look != nil {
			write()
			for range 10 {
				if hash := written[rng.IntN(len(written))]; !k.has(hash) {
					t.Fatalf("key %x is not known", hash)
				}
			}
		}
		for _, hash := range written {
			if !k.has(hash) {
				t.Fatalf("key %x is not known", hash)
			}
		}
		k.end()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
