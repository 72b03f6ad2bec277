// Package spelling finds the name that was probably meant by one that is not known: for
// the errors of a configuration and of a request alike. The distance counts insertions,
// deletions, substitutions and swaps of neighbours; how far a name may be grows with its
// length. The work is bounded, whatever is compared.
package spelling
