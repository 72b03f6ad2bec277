package top

// help is what ? shows. The keys are those of model.go.
var help = []string{
	"",
	"u n w       sort by use, by name, by who waits",
	"up down     mark another limit (also j k, page up and down, home, end)",
	"c, enter    who uses the marked limit, and who waits for it",
	"r           which replicas serve the organization, and their log",
	"/           show only scopes and limits that have a text in their name",
	"esc         leave the filter, details, replicas or help",
	"q, ctrl+c   quit",
	"",
	"QUOTA       what is shared out now / what is configured, if they differ:",
	"            a margin, or what the provider's answers have taught",
	"USED        charged within the window, or held of a stock",
	"RESERVED    what running calls may still use",
	"USE         used and reserved, of the effective quota; above 100% after debts",
	"LAST HOUR   the use in steps of six minutes, the present at the right",
	"%/H         its slope, in percent points per hour",
	"FULL IN     when nothing is left if it goes on like that",
	"WAIT        calls that wait for the limit's pool, project or organization",
	"LONGEST     how long the one has waited that has waited longest",
	"GATE        closed: the provider asked for a pause. blocked: billing, an outage",
}
