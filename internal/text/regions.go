package text

// inCountries is a language and where an OTP may be written in it.
type inCountries struct {
	language string
	regions  string // ISO 3166-1 alpha-2, parted by space
}

// spoken is which language to choose for a phone's country: the likeliest one (Unicode CLDR's likely subtags, and by them
// every region that phone.Number.Region knows), or another official one where people rather write in that. A country may
// stand in several rows: the first whose language is there counts. Many of the languages are for operators to add.
func spoken() []inCountries {
	return []inCountries{
		// First choices of countries that have a second one below.
		{"be", "BY"},
		{"kk", "KZ"},
		{"ky", "KG"},
		{"tg", "TJ"},
		{"ca", "AD"},
		{"mg", "MG"},
		{"rw", "RW"},
		{"rn", "BI"},
		{"ht", "HT"},
		{"so", "SO"},
		{"ti", "ER"},
		{"pap", "AW BQ CW"},
		{"tet", "TL"},
		{"mt", "MT"},
		{"fil", "PH"},
		{"sw", "KE TZ"},
		{"ms", "BN MY"},
		{"da", "DK FO GL"},

		{"ar", "AE BH DZ EG EH IQ JO KM KW LB LY MA MR OM PS QA SA SD SO SY TN YE"},
		{"de", "AT CH DE LI"},
		{"en", "AC AG AI AS AU BB BM BS BW BZ CA CC CK CX DM ER FJ FK FM GB GD GG GH GI GM GU GY IE IM IO JE JM KE KI KN KY LC LR " +
			"LS MH MP MS MT MU MW MY NA NF NG NR NU NZ PG PH PK PW RW SB SC SG SH SL SS SX SZ TA TC TK TO TT TV TZ UG US VC VG VI " +
			"VU WS ZA ZM ZW"},
		{"es", "AD AR BO CL CO CR CU DO EC ES GQ GT HN MX NI PA PE PR PY SV UY VE"},
		{"fa", "AF IR"},
		{"fr", "BF BI BJ BL CD CF CG CI CM DJ FR GA GF GN GP HT LU MC MF MG ML MQ NC NE PF PM RE SN TD TG WF YT"},
		{"id", "ID"},
		{"it", "IT SM VA"},
		{"nl", "AW BE BQ CW NL SR"},
		{"pt", "AO BR CV GW MZ PT ST TL"},
		{"ru", "BY KG KZ RU TJ"},
		{"tr", "TR"},

		{"am", "ET"},
		{"az", "AZ"},
		{"bg", "BG"},
		{"bn", "BD"},
		{"bs", "BA"},
		{"cs", "CZ"},
		{"dv", "MV"},
		{"dz", "BT"},
		{"el", "CY GR"},
		{"et", "EE"},
		{"fi", "FI"},
		{"he", "IL"},
		{"hi", "IN"},
		{"hr", "HR"},
		{"hu", "HU"},
		{"hy", "AM"},
		{"is", "IS"},
		{"ja", "JP"},
		{"ka", "GE"},
		{"km", "KH"},
		{"ko", "KP KR"},
		{"lo", "LA"},
		{"lt", "LT"},
		{"lv", "LV"},
		{"mk", "MK"},
		{"mn", "MN"},
		{"my", "MM"},
		{"nb", "NO SJ"},
		{"ne", "NP"},
		{"pl", "PL"},
		{"ro", "MD RO"},
		{"si", "LK"},
		{"sk", "SK"},
		{"sl", "SI"},
		{"sq", "AL XK"},
		{"sr", "ME RS"},
		{"sv", "AX SE"},
		{"th", "TH"},
		{"tk", "TM"},
		{"uk", "UA"},
		{"ur", "PK"},
		{"uz", "UZ"},
		{"vi", "VN"},
		{"zh", "CN"},
		{"zh-Hant", "HK MO TW"},
	}
}
