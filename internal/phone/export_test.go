package phone

// ParsePlain and ParseAny are the two ways of Parse, for a test that holds them side by side.
var (
	ParsePlain = parsePlain
	ParseAny   = parseAny
)
