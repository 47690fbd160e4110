package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// damages are what can happen to a state folder while its instance is down.
var damages = []struct {
	name string
	do   func(rng *rand.Rand, dir string) error
}{
	{"wiped", func(_ *rand.Rand, dir string) error { return os.RemoveAll(dir) }},
	{"partitions wiped", someFiles(func(_ *rand.Rand, file string) error { return os.RemoveAll(filepath.Dir(file)) })},
	{"bits flipped", someFiles(flipBits)},
	{"files truncated", someFiles(truncate)},
	{"files removed", someFiles(func(_ *rand.Rand, file string) error { return os.Remove(file) })},
	{"rewound", rewind},
}

// someFiles does something to a third of the files of stores below dir, and to one at least.
func someFiles(do func(rng *rand.Rand, file string) error) func(*rand.Rand, string) error {
	return func(rng *rand.Rand, dir string) error {
		files, err := storeFiles(dir)
		if err != nil || len(files) == 0 {
			return err
		}
		sure := rng.IntN(len(files))
		for i, file := range files {
			if i != sure && rng.Float64() > 0.3 {
				continue
			}
			// An earlier file may have taken its folder along.
			if err := do(rng, file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	}
}

// storeFiles lists the files that have something in them. A lock is no content, nor is the name of the instance, which lies
// above the stores.
func storeFiles(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" || d.Name() == "instance" {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > 0 {
			files = append(files, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return files, err
}

// flipBits changes a few bytes anywhere in a file.
func flipBits(rng *rand.Rand, file string) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	for range 1 + rng.IntN(8) {
		at := rng.Int64N(info.Size())
		var b [1]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			return err
		}
		b[0] ^= 1 << rng.IntN(8)
		if _, err := f.WriteAt(b[:], at); err != nil {
			return err
		}
	}
	return nil
}

func truncate(rng *rand.Rand, file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return os.Truncate(file, rng.Int64N(info.Size()))
}

// rewind puts the folder back to how it was at the last rewind, as a disk that comes from a backup does, and keeps a copy of
// how it is now for the next.
func rewind(_ *rand.Rand, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil // it was killed before it had a folder
	}
	old, now := dir+".old", dir+".now"
	if err := os.RemoveAll(now); err != nil {
		return err
	}
	if err := os.CopyFS(now, os.DirFS(dir)); err != nil {
		return fmt.Errorf("copy a state folder: %w", err)
	}
	if _, err := os.Stat(old); err == nil {
		if err := errors.Join(os.RemoveAll(dir), os.Rename(old, dir)); err != nil {
			return err
		}
	}
	return os.Rename(now, old)
}
