// Package failpoint ends the process at named places of the commit, as a crash would, in builds with the tag `failpoints`.
// Other builds have nothing of it: Hit is empty and is compiled away.
//
// LOOKBACK_FAILPOINT=name[:chance],... names the places and, for each, how likely it is (1 unless told) that reaching it
// kills the process with SIGKILL.
package failpoint
