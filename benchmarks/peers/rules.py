"""What every peer merges by: the pattern of an address, the words for blank, which column of a vendor fills which of the CRM's, and what is new."""

EMAIL = r"[^@\s]+@[^@\s]+\.[^@\s]+"
BLANK = ["", "-", "n/a", "na", "nan", "none", "null", "unknown"]
BLANK_SQL = "(" + ", ".join(f"'{word}'" for word in BLANK) + ")"
FILLS = {
    "work_email": "Email",
    "phone": "Phone",
    "linkedin_url": "LinkedIn",
    "title": "Title",
    "city": "City",
}
NEW = ["industry", "vendor_id", "employees"]
