package tables

import (
	"os"
	"syscall"
	"unsafe"
)

// adviseHuge asks for huge pages below large slices that are read at random: with 4 KiB pages, most of what a look-up
// among gigabytes costs is address translation. Only whole pages inside b are advised, and refusals change nothing.
func adviseHuge(b []byte) {
	page := uintptr(os.Getpagesize())
	start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	skip := (page - start%page) % page
	if n := (uintptr(len(b)) - skip) / page * page; uintptr(len(b)) > skip && n > 0 {
		_ = syscall.Madvise(b[skip:skip+n], syscall.MADV_HUGEPAGE)
	}
}
