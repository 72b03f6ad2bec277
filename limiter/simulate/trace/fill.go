package trace

import "strconv"

// Fill makes up, by a hash of the row, what a trace does not say. What it says stands.
type Fill struct {
	Seed     uint64
	Projects int // that rows of no client are spread over; 0 means 8
}

// Hash spreads (seed, n) evenly over 64 bits: the nth number of splitmix64.
func Hash(seed, n uint64) uint64 {
	z := seed + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Each thing that is made up has a hash of its own, so that they do not go together.
const (
	maxOutputSalt = 1 + iota
	classSalt
	projectSalt
)

func (f Fill) hash(salt uint64, row Row) uint64 {
	return Hash(Hash(f.Seed, salt), uint64(row.Index))
}

// MaxOutput is what the row allows, or else max(real, one of {real, 2 × real, 1,024, 4,096}).
func (f Fill) MaxOutput(row Row) int64 {
	if row.MaxOutput > 0 {
		return row.MaxOutput
	}
	choice := [4]int64{row.Output, 2 * row.Output, 1024, 4096}[f.hash(maxOutputSalt, row)%4]
	return max(row.Output, choice)
}

// Class is the row's, or else interactive for 20 % of the rows, standard for 30 %, batch for 50 %.
func (f Fill) Class(row Row) string {
	if row.Class != "" {
		return row.Class
	}
	switch h := f.hash(classSalt, row) % 10; {
	case h < 2:
		return "interactive"
	case h < 5:
		return "standard"
	}
	return "batch"
}

// Project is the row's client, or else one of project-0 … project-7.
func (f Fill) Project(row Row) string {
	if row.Client != "" {
		return row.Client
	}
	n := uint64(max(f.Projects, 0))
	if n == 0 {
		n = 8
	}
	return "project-" + strconv.FormatUint(f.hash(projectSalt, row)%n, 10)
}

// Apply fills a row in.
func (f Fill) Apply(row Row) Row {
	row.MaxOutput, row.Class, row.Client = f.MaxOutput(row), f.Class(row), f.Project(row)
	return row
}
