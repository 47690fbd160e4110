//go:build !linux

package tables

func adviseHuge([]byte) {}
