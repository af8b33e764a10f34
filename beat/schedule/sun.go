package schedule

import "math"

// Where the sun is, by the formulas of J. Meeus (Astronomical Formulae for Calculators, chapter 18;
// Astronomical Algorithms, chapters 12, 22 and 25). Times are days of UT since J2000, angles are degrees.

// terrestrialAhead is how many days Terrestrial Time is ahead of UT; it changes by a second in years.
const terrestrialAhead = 69.2 / day

type sun struct {
	rightAscension, declination float64
	distance                    float64 // in astronomical units
	sidereal                    float64 // time at Greenwich
}

func sunAt(days float64) sun {
	since1900 := (days + terrestrialAhead + 36525) / 36525
	longitude, distance := sunsLongitude(since1900)
	t := (days + terrestrialAhead) / 36525

	node := 125.04452 - 1934.136261*t
	sunMean, moonMean := 280.4665+36000.7698*t, 218.3165+481267.8813*t
	nutation := (-17.20*sin(node) - 1.32*sin(2*sunMean) - 0.23*sin(2*moonMean) + 0.21*sin(2*node)) / 3600
	obliquity := 23.4392911 - 0.0130042*t +
		(9.20*cos(node)+0.57*cos(2*sunMean)+0.10*cos(2*moonMean)-0.09*cos(2*node))/3600

	longitude += nutation - 20.4898/3600/distance // aberration
	return sun{
		rightAscension: degrees(math.Atan2(cos(obliquity)*sin(longitude), cos(longitude))),
		declination:    degrees(math.Asin(sin(obliquity) * sin(longitude))),
		distance:       distance,
		sidereal:       280.46061837 + 360.98564736629*days + 0.000387933*t*t + nutation*cos(obliquity),
	}
}

// sunsLongitude is the sun's geometric longitude and distance. t is in centuries since 1900.
func sunsLongitude(t float64) (longitude, distance float64) {
	mean := 279.69668 + 36000.76892*t + 0.0003025*t*t
	anomaly := 358.47583 + 35999.04975*t - 0.000150*t*t - 0.0000033*t*t*t
	eccentricity := 0.01675104 - 0.0000418*t - 0.000000126*t*t
	center := (1.919460-0.004789*t-0.000014*t*t)*sin(anomaly) +
		(0.020094-0.000100*t)*sin(2*anomaly) + 0.000293*sin(3*anomaly)

	venus, venus2 := 153.23+22518.7541*t, 216.57+45037.5082*t
	jupiter, jupiter2 := 312.69+32964.3577*t, 353.40+65928.7155*t
	moon, slow := 350.74+445267.1142*t-0.00144*t*t, 231.19+20.20*t
	longitude = mean + center + 0.00134*cos(venus) + 0.00154*cos(venus2) + 0.00200*cos(jupiter) + 0.00179*sin(moon) + 0.00178*sin(slow)
	distance = 1.0000002*(1-eccentricity*eccentricity)/(1+eccentricity*cos(anomaly+center)) +
		0.00000543*sin(venus) + 0.00001575*sin(venus2) + 0.00001627*sin(jupiter) + 0.00003076*cos(moon) + 0.00000927*sin(jupiter2)
	return longitude, distance
}

// hourAngle is how far the sun is past its highest place, from -180 to 180.
func (s sun) hourAngle(longitude float64) float64 {
	return math.Remainder(s.sidereal+longitude-s.rightAscension, 360)
}

// altitude of the sun's centre over the horizon.
func (s sun) altitude(latitude, longitude float64) float64 {
	h := s.hourAngle(longitude)
	sinAltitude := sin(latitude)*sin(s.declination) + cos(latitude)*cos(s.declination)*cos(h)
	altitude := degrees(math.Asin(math.Max(-1, math.Min(1, sinAltitude))))
	return altitude - 8.794/3600/s.distance*cos(altitude) // parallax
}

// radius of its disc.
func (s sun) radius() float64 { return 959.63 / 3600 / s.distance }

func sin(angle float64) float64       { return math.Sin(angle * math.Pi / 180) }
func cos(angle float64) float64       { return math.Cos(angle * math.Pi / 180) }
func degrees(radians float64) float64 { return radians * 180 / math.Pi }
